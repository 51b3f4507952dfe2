"""What travels between processes: messages, their pickles, and the page that both sides see.

Knows neither the engine nor the worker; both stand on it.
"""
