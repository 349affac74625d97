using System.CommandLine;

namespace Yarnish.Cli.Commands;

/// <summary>Runs the body of a command: resolves where the cluster is, and turns failures into a message on stderr and an exit code.</summary>
internal static class CommandRunner
{
    public static Option<string?> Address { get; } = new("--address")
    {
        Description = "URL of the resource manager. Default: Yarnish__Address, else the cluster that 'yarnish up' started here, else http://127.0.0.1:8088.",
        Recursive = true,
    };

    public static Option<string?> Secret { get; } = new("--secret-file")
    {
        Description = "File that holds the cluster's secret. Default: the variable Yarnish__Secret.",
        Recursive = true,
    };

    public static Option<bool> Json { get; } = new("--json") { Description = "Print JSON instead of text.", Recursive = true };

    public static Task<int> RunAsync(ParseResult parsed, Func<ClusterClient, bool, Task<int>> body) => GuardAsync(async () =>
    {
        using var client = new ClusterClient(Settings(parsed));
        return await body(client, parsed.GetValue(Json)).ConfigureAwait(false);
    });

    public static ClusterSettings Settings(ParseResult parsed)
    {
        string? secret = null;
        if (parsed.GetValue(Secret) is { } path)
        {
            try
            {
                secret = File.ReadAllText(path).Trim();
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                throw new CommandException(ExitCodes.Usage, $"The secret cannot be read from '{path}': {error.Message}");
            }
        }
        return ClusterSettings.Resolve(parsed.GetValue(Address), secret);
    }

    public static async Task<int> GuardAsync(Func<Task<int>> body)
    {
        try
        {
            return await body().ConfigureAwait(false);
        }
        catch (CommandException error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return error.ExitCode;
        }
        catch (OperationCanceledException)
        {
            return ExitCodes.Interrupted;
        }
    }
}
