# The store of images, and what turns an archive into one: what image.h promises.
# May call proc/.
libengine_a_SOURCES += \
	%D%/image.c \
	%D%/image_import.c \
	%D%/image_maker.c %D%/image_maker.h \
	%D%/image_manifest.c %D%/image_manifest.h \
	%D%/image_publish.c %D%/image_publish.h \
	%D%/image_store.h
