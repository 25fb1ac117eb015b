"""The configuration schema: what a recipe may say, with defaults, units and meanings.

Plain data classes, so that reading a recipe costs no heavy import. `slams.config.loading` loads
recipes into these classes and refuses what does not fit; the comment above a field is its help
text. Each module states in `__all__` what is public here.
"""

from slams.config.schema.assimilation import *  # noqa: F403
from slams.config.schema.data import *  # noqa: F403
from slams.config.schema.networks import *  # noqa: F403
from slams.config.schema.observations import *  # noqa: F403
from slams.config.schema.recipe import *  # noqa: F403
from slams.config.schema.running import *  # noqa: F403
from slams.config.schema.satellite import *  # noqa: F403
