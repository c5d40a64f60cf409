"""PolyMNIST: five images of one digit over photographs."""
