"""What the acceptance tests are made of: the gateway as a child process, and the parts around it."""
