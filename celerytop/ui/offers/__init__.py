"""What can be done to what stands under the cursor: the lines of the menu of actions."""
