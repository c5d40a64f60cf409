"""How trials run: plan, queue, stacks, the attempt itself."""
