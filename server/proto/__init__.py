"""Messages and services of the public API; see README.md for how the generated code is made."""
