"""``python -m ilforge`` is the command ``ilforge``."""

from ilforge.cli import main

if __name__ == "__main__":
    main()
