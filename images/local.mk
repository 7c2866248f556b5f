# Recipes of images, beside the program that reads them.
recipesdir = $(pkglibexecdir)/images
dist_recipes_DATA = %D%/debian-12 %D%/python-3.11 %D%/node-22
