# %% [markdown]
# # 1 Read the demo
#
# An analysis is an ensemble: every member is a possible state of the atmosphere, given the background and the
# observations. This page makes one with the demo's model and reads it as a scientist would: where did the
# observations change the background, how sure is the analysis, and is it as sure as it should be?
#
# The truth is a day of the model run that the demo's sample comes from. It is known here, because this is a twin
# experiment; on real days it is not, and only the last section's questions to the observations remain.

# %%
import cartopy.crs as ccrs  # noqa: F401
