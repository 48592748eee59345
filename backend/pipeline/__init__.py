"""The way through the house: a request becomes a job, a job its stages, and these the files of an object."""
