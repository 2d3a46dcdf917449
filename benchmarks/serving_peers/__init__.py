"""Parts of the serving benchmark: contenders, their server programs, the client and the table."""
