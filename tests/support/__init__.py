"""What tests share: tasks that workers can import, and small studies."""
