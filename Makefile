# Two commands matter: `make demo` and `make test`. `make help` lists the others.
CC ?= cc
PYTHON ?= python3
OUT := out
CFLAGS ?= -std=c99 -O2
# OpenMP where the compiler has it. OPENMP= switches it off.
OPENMP ?= $(shell mkdir -p $(OUT) && echo 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o $(OUT)/.openmp 2>/dev/null && echo -fopenmp; rm -f $(OUT)/.openmp)

.PHONY: help header check test test-long test-sanitize demo bench book clean
help:
	@echo "make demo       learn an epidemic and draw it (under $(OUT)/); DATA=file.npy for your own trajectories, ARGS='--steps 500' for options"
	@echo "make run-NAME   build and run examples/NAME.c; ARGS=--help says what it does"
	@echo "make test       verify everything; ONLY=topic runs tests/test_topic.* alone"
	@echo "make bench      measure speed as ratios; ONLY=engine, kernels, compile, particles, flows, ... runs one part"
	@echo "make header     regenerate weightflow.h from src-lit/"
	@echo "make check      is weightflow.h what the book says, with our licence and only our names?"
	@echo "make book       the book as HTML under $(OUT)/book/"
	@echo "make test-long  thousands of graphs, every test under the sanitizers; make test-sanitize: the sanitizers alone"

header:
	@$(PYTHON) gen/tangle.py

check:
	@CC="$(CC)" $(PYTHON) tests/test_header.py

test:
	@$(PYTHON) tests/run.py --cc "$(CC)" --cflags "$(CFLAGS)" $(if $(ONLY),--only $(ONLY))

test-long:
	@$(PYTHON) tests/run.py --cc "$(CC)" --cflags "$(CFLAGS)" --long $(if $(ONLY),--only $(ONLY))

test-sanitize:
	@$(PYTHON) tests/run.py --cc "$(CC)" --cflags "$(CFLAGS)" --sanitize $(if $(ONLY),--only $(ONLY))

.PRECIOUS: $(OUT)/examples/%
$(OUT)/examples/%: examples/%.c weightflow.h $(wildcard examples/*.h)
	@mkdir -p $(OUT)/examples
	@echo "compiling examples/$*.c"
	@$(CC) $(CFLAGS) $(OPENMP) -I. $< -o $@ -lm

# make run-ring ARGS='--seed 2' builds and runs examples/ring.c
run-%: $(OUT)/examples/%
	@OMP_WAIT_POLICY=passive $(OUT)/examples/$* $(ARGS)

demo: $(OUT)/examples/epidemic
	@OMP_WAIT_POLICY=passive $(OUT)/examples/epidemic $(if $(DATA),--data "$(DATA)") $(ARGS)

bench:
	@$(PYTHON) bench/run.py --cc "$(CC)" --cflags "$(CFLAGS)" $(if $(ONLY),--only $(ONLY))

book:
	@$(PYTHON) gen/weave.py

clean:
	rm -rf $(OUT)
