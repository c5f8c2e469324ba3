"""A virtual fleet in virtual time: replays arrivals under several policies, among them the server's own `plan()`."""
