"""What the tests share: leak checks, gates, bombs, tasks, fresh interpreters. Never sleeps to synchronise."""
