#!/usr/bin/env bash
# Builds everything and runs every test: no I/O first, then those that need RabbitMQ and Redis, then those that start processes.
# Ends with one line "N passed, N failed, N skipped"; the exit code is 0 only when something passed and nothing failed.
set -euo pipefail
cd "$(dirname "$0")"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
run="${YARNISH_RUN_DIRECTORY:-$PWD/.run}"
results="$run/test-results"
rm -rf "$results"; mkdir -p "$results"
passed=0 failed=0 skipped=0 started_services=
summary=()

finish() {
    local code=$?
    trap - EXIT INT TERM
    if [ -n "$started_services" ]; then infra/services.sh down || true; fi
    echo
    printf '%s\n' "${summary[@]+"${summary[@]}"}"
    if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi   # stopped before or between tests: never a green line
    if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then echo "test.sh: error: no test ran"; failed=1; fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && exit 0
    exit 1
}
trap finish EXIT
trap 'exit 130' INT TERM

attribute() { sed -nE "s/.*<assembly [^>]*[ ]$2=\"([0-9]+)\".*/\1/p" "$1" | head -n1; }

# Runs one set of tests and adds up what its result file says; a run that leaves no result file counts as one failure.
run_tests() {  # title, must be empty (1) or not (0), project, filters…
    local title="$1" must_be_empty="$2" project="$3" begin=$SECONDS code=0; shift 3
    local file="$results/$(echo "$title" | tr -c 'a-zA-Z\n' '-').xml"
    echo; echo "== $title"
    dotnet run --no-build --project "tests/$project" -- -noLogo -noColor -result-xml "$file" "$@" || code=$?
    if [ ! -s "$file" ]; then
        failed=$((failed + 1)); summary+=("$title: the test program ended with code $code and left no result"); return
    fi
    local p f s e t
    p="$(attribute "$file" passed)"; f="$(attribute "$file" failed)"; s="$(attribute "$file" skipped)"; e="$(attribute "$file" errors)"; t="$(attribute "$file" total)"
    if [ "$must_be_empty" = 1 ]; then
        [ "${t:-0}" = 0 ] || { failed=$((failed + t)); summary+=("$title: $t tests; give them [Trait(\"Category\", \"Services\")] or [Trait(\"Category\", \"Processes\")]"); }
        return
    fi
    f=$((${f:-0} + ${e:-0}))
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + ${p:-0})); failed=$((failed + f)); skipped=$((skipped + ${s:-0}))
    summary+=("$title: ${t:-0} tests, ${p:-0} passed, $f failed, ${s:-0} skipped, $((SECONDS - begin)) s")
}

echo "== build"
dotnet build Yarnish.sln -c Debug -v q -nologo

run_tests "no I/O" 0 Yarnish.Tests

if [ -f tests/Yarnish.Simulation/Program.cs ]; then
    echo; echo "== simulation"
    begin=$SECONDS
    if dotnet run --no-build --project tests/Yarnish.Simulation -- --seeds "${YARNISH_SEEDS:-300}" | tee "$results/simulation.txt"; then
        passed=$((passed + 1)); summary+=("simulation: $(tail -n1 "$results/simulation.txt"), $((SECONDS - begin)) s in all")
    else
        failed=$((failed + 1)); summary+=("simulation: failed: $(tail -n1 "$results/simulation.txt")")
    fi
    begin=$SECONDS
    if dotnet run --no-build --project tests/Yarnish.Simulation -- --planted | tee "$results/planted.txt"; then
        passed=$((passed + 1)); summary+=("planted bugs: $(grep -c ': caught by seed' "$results/planted.txt") caught, $((SECONDS - begin)) s")
    else
        failed=$((failed + 1)); summary+=("planted bugs: failed: $(tail -n20 "$results/planted.txt" | { grep ': NOT caught' || echo 'the program ended early'; } | tr '\n' ' ')")
    fi
fi

echo; echo "== services"
if [ ! -s "$run/services.env" ] || ! infra/services.sh status >/dev/null 2>&1; then
    started_services=1
    infra/services.sh up || { summary+=("services: RabbitMQ and Redis cannot be had here, so the tests that need them did not run: this is a failure"); exit 1; }
fi
set -a; . "$run/services.env"; set +a

run_tests "services" 0 Yarnish.Integration.Tests -trait Category=Services
run_tests "processes" 0 Yarnish.Integration.Tests -trait Category=Processes
run_tests "without a category" 1 Yarnish.Integration.Tests -trait- Category=Services -trait- Category=Processes
