"""The paper's claims, one row each: what it says, what is computed for it, how it is judged and how it is drawn.

The story page, the report and the command line tell the same rows, of whatever experiment stands in the sidebar. A
file each, in the order in which they are told::

    claim = CLAIMS[0]
    found = {name: result(spec, store) for name, spec in claim.specs(experiment).items()}
    claim.judge(experiment, found).verdict               # "holds", "holds in part", "does not hold here", "cannot tell"
    claim.figure(experiment, found, dark=False)
"""

from ntkcore.runs.claims.agree import AGREE
from ntkcore.runs.claims.claim import Claim
from ntkcore.runs.claims.evolution import EVOLUTION
from ntkcore.runs.claims.robust_features import ROBUST_AND_BRITTLE, ROBUST_IS_EARLY
from ntkcore.runs.claims.seen import SEEN
from ntkcore.runs.claims.training_free import TRAINING_FREE
from ntkcore.runs.claims.transfer import TRANSFER

CLAIMS: tuple[Claim, ...] = (TRAINING_FREE, TRANSFER, ROBUST_AND_BRITTLE, SEEN, ROBUST_IS_EARLY, AGREE, EVOLUTION)
