"""How to read the numbers of a comparison, for its page and for a terminal's tables."""

from __future__ import annotations

from lewm.training.health import COLLAPSED_RANK, COLLAPSED_STD

# A term, what it is in a sentence which a terminal has room for, and what else there is to know.
READING = (
    (
        "Solved",
        "The interquartile mean of the seeds' success rates, with its 95% interval.",
        "It is the mean of up to three seeds, and the mean of the middle half of more. The interval is the middle 95% "
        "of a bootstrap, which draws seeds and tasks anew from those that there were. With few seeds it reaches about "
        "from the worst to the best of them, and misses the success of all trainings that could be made more often "
        "than in 5 of 100 cases.",
    ),
    (
        "Difference",
        "How much more is solved than by the reference, in percentage points, on the same tasks of the same seeds, "
        "with its 95% interval.",
        "The interval is over seeds and tasks, and of the same kind; one without 0 speaks for a difference. Where one "
        "of the two solves no task that the other does not, it is longer on that side by what the tasks may not have "
        "shown.",
    ),
    (
        "p",
        "The p-value of the paired test of these runs, corrected for the number of rows (Holm).",
        "It is how probable it is that tasks which only one of the two solves fall to it as unevenly as here, or more "
        "unevenly, if both were equally good (McNemar's exact test, with the seeds as strata). Other trainings may "
        "turn out otherwise. A method is told apart from the reference where p is below 0.05 and the interval of the "
        "difference is without 0.",
    ),
    (
        "P(better)",
        "The probability that a run of the method solves more tasks than a run of the reference.",
        "It is 50% where they are alike. With few seeds it is known roughly only; where all pairs of runs agree, "
        "there is no interval to show.",
    ),
    (
        "Decision",
        "The median time for one environment, and how many times as long as the reference's.",
        "Both were timed in one process, one after the other in each round, so that other work on the machine slows "
        "both.",
    ),
    (
        "Training",
        "What the steps of its trainings took, the mean of the seeds.",
        "In brackets are the least and the greatest. Stages, the model, and what is learnt on its latents are added "
        "up; what serves in training alone, as the values of GCIVL, is in it too. It is rough: several processes may "
        "have shared the cores, each with a part of the threads, and other programs may have run beside them. Only "
        "decisions are timed in turns.",
    ),
    (
        "Parameters",
        "How many numbers decide.",
        "In a search these are the model's; where a policy decides, those of the encoder, which the model was trained "
        "with, and of the policy, which was learnt on its latents afterwards. Frozen ones were not trained here.",
    ),
    (
        "Effective rank, mutual coverage",
        "How many directions the embeddings of held-out frames use, and how far they and the normal distribution, at "
        "which SIGReg aims, cover each other.",
        "Coverage is the lesser of two shares, of which one falls where embeddings crowd together, and the other where "
        "they lie outside. In the directions that are used, each is scaled to variance 1 first: so a collapsed model "
        "may cover much there, and nothing in all directions. All are measured at the end of training.",
    ),
    (
        "Collapse",
        f"Latents are collapsed where their mean standard deviation on held-out data is below {COLLAPSED_STD:g}, or "
        f"their effective rank below {COLLAPSED_RANK:g}.",
        "It is told of runs that were collapsed at their end, with the first evaluation from which on they were. Those "
        "that never spread out were collapsed from the first one on.",
    ),
)
BRIEFLY = ("Solved", "Difference", "p", "Decision", "Training")  # what a terminal's table shows


def briefly() -> str:
    """What the columns of a terminal's table are."""
    return " ".join(f"{term}: {said[0].lower()}{said[1:]}" for term, said, _ in READING if term in BRIEFLY)
