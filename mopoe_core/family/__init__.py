"""The models, each as rows of numbers in a file of its own under `members/`. Pure: no torch."""
