"""`edgekd doctor`: what is missing here, or on a device, with the command that installs it."""
