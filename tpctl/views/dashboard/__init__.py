"""The full-screen view of `watch`: what it shows, how it is laid out, and what its keys do."""
