# %% [markdown]
# # 01_read_the_demo

# %%
import slams

model = slams.load("model/")
