# Beside a bare relay, nginx and HAProxy (where installed); under 5 minutes, with BENCH_QUICK=1 under one.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: bench
bench:
	cargo build --release --locked
	cargo build --release --locked --package wsgate-bench
	$(TARGET)/release/bench --wsgate $(TARGET)/release/wsgate $(if $(filter 1,$(BENCH_QUICK)),--quick)
