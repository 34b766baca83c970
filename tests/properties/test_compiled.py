"""Compiled loops where nothing can be kept on disk."""

from ilforge.compiled import compiled


def test_without_a_file_to_keep_it_beside_a_loop_is_compiled_all_the_same():
    namespace = {}
    exec("def total(n):\n    found = 0\n    for i in range(n):\n        found += i\n    return found", namespace)
    assert compiled(namespace["total"])(5) == 10
