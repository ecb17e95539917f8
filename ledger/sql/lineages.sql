-- What ledger/_postgres_lineages.py asks, by name.

-- name: fork
SELECT syndic.fork(%(source)s, %(target)s, %(step)s, %(now)s) AS answer;

-- name: retire
SELECT syndic.retire(%(project)s, %(sprint)s, %(task)s) AS in_doubt;
