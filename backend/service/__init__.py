"""The backend service: jobs over ZeroMQ, kept until they are done and fetched."""
