"""The network, how it is trained, how it is judged, and what it is compared with."""
