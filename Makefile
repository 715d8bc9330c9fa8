# Two commands matter: `make demo` and `make test`. `make help` lists the others.
CC ?= cc
PYTHON ?= python3
OUT := out
CFLAGS ?= -std=c99 -O2
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Wcast-qual -Wstrict-prototypes -Wold-style-definition -Wdouble-promotion -Wc++-compat
OPENMP := $(shell echo 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o /dev/null 2>/dev/null && echo -fopenmp)
BOOK := $(shell find src-lit -name '*.md' 2>/dev/null)
TESTS := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))

.PHONY: help header check test demo bench book clean
help:
	@echo "make demo    learn an epidemic and draw it (under $(OUT)/)"
	@echo "make test    verify everything; ONLY=topic runs tests/test_topic.c alone"
	@echo "make bench   measure speed as ratios; ONLY=part runs one part"
	@echo "make header  regenerate weightflow.h from src-lit/"
	@echo "make check   is weightflow.h what the book says?"
	@echo "make book    the book as HTML under $(OUT)/book/"

header:
	@$(PYTHON) gen/tangle.py

check:
	@$(PYTHON) gen/tangle.py --check

$(OUT)/tests/%: tests/%.c tests/wf_test.h weightflow.h
	@mkdir -p $(OUT)/tests
	$(CC) $(CFLAGS) $(OPENMP) -Wall -Wextra -I tests $< -o $@ -lm

ifdef ONLY
test: $(OUT)/tests/test_$(ONLY)
	@$(OUT)/tests/test_$(ONLY)
else
test:
	@$(PYTHON) tests/run.py --cc "$(CC)" --cflags "$(CFLAGS) $(OPENMP)"
endif

book:
	@$(PYTHON) gen/weave.py

clean:
	rm -rf $(OUT)
