#!/usr/bin/env bash
# Builds everything and runs every test.
set -euo pipefail
cd "$(dirname "$0")"
dotnet build Yarnish.sln -c Debug -v q -nologo
dotnet run --no-build --project tests/Yarnish.Tests
