"""MNIST's and SVHN's files, which two datasets are made from."""
