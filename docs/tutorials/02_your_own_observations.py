# %% [markdown]
# # 02_your_own_observations

# %%
import slams

model = slams.load("model/")
