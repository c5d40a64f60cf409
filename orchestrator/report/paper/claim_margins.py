"""The margins of the claims, and the numbers of the paper that they come from. Pure.

Where possible, a margin is a share of a distance in the same sweep, and not a number of nats or of accuracy: such a share does not depend
on the size of the data, the networks or the training. If the models do not differ, the distance is zero, and nothing counts as close.
"""

from mopoe_core.config.training_config import TrainingConfig

CLOSE = 1 / 3
"""Close: less than a third of the distance that gives the scale.

C2: MoPoE is 29 nats below MVAE, and MMVAE 151 nats (Table 4, column X); the share is 0.19. C3: MoPoE is above MMVAE in both means
(Tables 2 and 3). C10: MoPoE's means are 1 to 5 nats below those of Eq. (5), which gains 144 nats (Table 7); the share is at most 0.03.
The largest single difference is 27 nats, a share of 0.19.
"""
GAIN = 0.02
"""Gains: more than 0.02 of accuracy or coherence; flat: less. In Table 2, from one given modality to three, MoPoE gains 0.067 and MMVAE
loses 0.05. The margin is somewhat less than a third of MoPoE's gain."""
FAR = 1.5
"""Far above: more than 1.5 times as much. The smallest ratio of the paper is 2.3 (Table 3: 0.28 and 0.12). With the spread of Table 6,
0.02 of 0.12, five seeds establish a ratio of 2 in 35 % of simulated sweeps, and a ratio of 1.5 in nearly all."""
ABOVE_CHANCE = 2.0
"""Above chance: more than twice chance. The means of Tables 2 and 3 that a claim needs above chance are 6.8 and 9.1 times chance."""


def chance(config: TrainingConfig) -> float:
    """Returns the accuracy of guessing among equally common classes."""
    return 1 / config.card.classes


def joint_chance(config: TrainingConfig) -> float:
    """Returns the share of draws on which all modalities agree by chance, if each shows equally common classes."""
    return float(chance(config) ** (config.M - 1))
