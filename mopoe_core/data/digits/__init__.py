"""MNIST's and SVHN's files, from which two datasets are built."""
