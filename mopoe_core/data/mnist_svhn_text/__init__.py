"""MNIST-SVHN-Text: a handwritten digit, a house number and the digit's word."""
