"""What the conformance suite is made with: checks, benches, runs, reports. The checks: vfiodpa/conformance."""
