# Processes beside the engine: those it keeps running (helper), those for one
# piece of work (worker), other programs (child). Knows nothing of the rest.
libengine_a_SOURCES += \
	%D%/child.c %D%/child.h \
	%D%/helper.c %D%/helper.h \
	%D%/spawn.c %D%/spawn.h \
	%D%/worker.c %D%/worker.h
