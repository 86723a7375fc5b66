"""vhost-user back end: a guest's virtqueues over a Unix socket."""
