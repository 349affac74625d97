using Xunit;

namespace Yarnish.Tests.Analyzers;

public sealed class CopyToLocalFixTests
{
    [Fact]
    public async Task Members_of_this_become_locals() => await Compiled.FixesAsync(
        """
        sealed class OrderJob
        {
            private readonly DbConnection db = null!;
            private readonly int _limit = 3;
            private string Prefix { get; } = "x";

            public string Name() => db.Database;

            Rdd<string> Run(Rdd<string> lines)
            {
                // Long lines only.
                return lines.Where(line => line.Length > _limit && line.StartsWith(this.Prefix) && _limit > 0);
            }
        }
        """,
        """
        sealed class OrderJob
        {
            private readonly DbConnection db = null!;
            private readonly int _limit = 3;
            private string Prefix { get; } = "x";

            public string Name() => db.Database;

            Rdd<string> Run(Rdd<string> lines)
            {
                var limit = _limit;
                var prefix = this.Prefix;
                // Long lines only.
                return lines.Where(line => line.Length > limit && line.StartsWith(prefix) && limit > 0);
            }
        }
        """);

    [Fact]
    public async Task Constructor_parameters_and_taken_names_get_other_names() => await Compiled.FixesAsync(
        """
        sealed class Job(DbConnection connection, int limit)
        {
            public string Name => connection.Database;

            Rdd<string> Run(Rdd<string> lines)
            {
                var longer = lines.Where(line => line.Length > limit);
                return longer;
            }
        }
        """,
        """
        sealed class Job(DbConnection connection, int limit)
        {
            public string Name => connection.Database;

            Rdd<string> Run(Rdd<string> lines)
            {
                var limitCopy = limit;
                var longer = lines.Where(line => line.Length > limitCopy);
                return longer;
            }
        }
        """);

    [Fact]
    public async Task A_method_of_one_expression_becomes_a_block() => await Compiled.FixesAsync(
        """
        sealed class Job(DbConnection connection, int limit)
        {
            public string Name => connection.Database;

            async Task<long> Run(Rdd<string> lines) => await lines.Where(line => line.Length > limit).CountAsync();
        }
        """,
        """
        sealed class Job(DbConnection connection, int limit)
        {
            public string Name => connection.Database;

            async Task<long> Run(Rdd<string> lines)
            {
                var limitCopy = limit;
                return await lines.Where(line => line.Length > limitCopy).CountAsync();
            }
        }
        """);

    [Fact]
    public async Task What_could_not_travel_or_is_called_is_not_copied()
    {
        await Compiled.OffersNothingAsync(
            """
            sealed class Job
            {
                private readonly DbConnection db = null!;

                Rdd<string> Run(Rdd<string> lines)
                {
                    return lines.Where(line => line == db.Database);
                }
            }
            """);
        await Compiled.OffersNothingAsync(
            """
            sealed class Job
            {
                private readonly DbConnection db = null!;

                bool Is(string line) => db.Database == line;

                Rdd<string> Run(Rdd<string> lines)
                {
                    return lines.Where(line => Is(line));
                }
            }
            """);
    }

    [Fact]
    public async Task Tokens_become_the_cancellation_of_the_task() => await Compiled.FixesAsync(
        """
        class Program
        {
            void Run(Rdd<string> lines, CancellationTokenSource source)
            {
                lines.Select(line => { source.Token.ThrowIfCancellationRequested(); return source.IsCancellationRequested; });
            }
        }
        """,
        """
        class Program
        {
            void Run(Rdd<string> lines, CancellationTokenSource source)
            {
                lines.Select(line => { Yarnish.Executor.TaskContext.Current!.Cancellation.ThrowIfCancellationRequested(); return Yarnish.Executor.TaskContext.Current!.Cancellation.IsCancellationRequested; });
            }
        }
        """);

    [Fact]
    public async Task What_is_read_of_a_handle_becomes_a_local() => await Compiled.FixesAsync(
        """
        class Program
        {
            void Run(Rdd<string> lines, Rdd<int> other)
            {
                lines.Select(line => line.Length % other.Partitions);
            }
        }
        """,
        """
        class Program
        {
            void Run(Rdd<string> lines, Rdd<int> other)
            {
                var partitions = other.Partitions;
                lines.Select(line => line.Length % partitions);
            }
        }
        """);
}
