"""What is learnt from: cohorts, patches, candidates, held-out features."""
