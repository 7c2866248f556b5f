# What is on disk of a guest: memory, disk layers, snapshots, templates, parcels of
# them. May call proc/.
libengine_a_SOURCES += \
	%D%/disk.c %D%/disk.h \
	%D%/mem_file.c %D%/mem_file.h \
	%D%/mem_index.c %D%/mem_index.h \
	%D%/mem_pages.c %D%/mem_pages.h \
	%D%/parallel.c %D%/parallel.h \
	%D%/parcel_keep.c %D%/parcel_keep.h \
	%D%/parcel_proc.c %D%/parcel_proc.h \
	%D%/parcel_sheet.c %D%/parcel_sheet.h \
	%D%/snapshot.c %D%/snapshot.h \
	%D%/snapshot_manifest.c %D%/snapshot_manifest.h \
	%D%/template.c %D%/template.h
