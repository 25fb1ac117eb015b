# %% [markdown]
# # 06_cycle

# %%
import slams

model = slams.load("model/")
