"""What a sweep file asks for. Pure: no torch, no Ray."""
