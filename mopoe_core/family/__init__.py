"""The models as rows of numbers. Each model has one file under `members/`. Pure: no torch."""
