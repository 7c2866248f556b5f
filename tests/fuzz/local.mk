# fuzz_X.c is a libFuzzer target; the corpus in corpus/X is replayed by
# fuzz_replay in every `make check`.
