"""Results of a run as values: histograms, SLOs, verdicts, reports, comparisons. Needs no Locust."""
