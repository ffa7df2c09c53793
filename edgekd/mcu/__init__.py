"""Microcontrollers: firmware built for the sizes of a target, and run on an emulated core."""
