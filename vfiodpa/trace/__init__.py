"""What passes between a driver and a function, recorded: to be read by people, and to be played back to a driver."""
