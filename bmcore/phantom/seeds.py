"""From the seed of a cohort to the seeds of its members, so that no two cohorts share one."""

MEMBERS_A_SEED = 100_003


def member_seed(cohort: int, number: int) -> int:
    """The seed of a patient or head. ValueError where it would be a member of another cohort."""
    if not 0 <= number < MEMBERS_A_SEED:
        limit = MEMBERS_A_SEED - 1
        raise ValueError(f"patient or head must lie between 0 and {limit}, but is {number}")
    return cohort * MEMBERS_A_SEED + number
