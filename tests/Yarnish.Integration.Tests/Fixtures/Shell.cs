using System.Diagnostics;

namespace Yarnish.Integration.Tests.Fixtures;

/// <summary>Runs a program to its end, as a user at a terminal would.</summary>
internal static class Shell
{
    /// <summary>Its exit code and all that it wrote. Killed with its children after three minutes.</summary>
    /// <param name="program">Looked up on the path.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="directory">Its working directory; null: this process's.</param>
    /// <param name="environment">Variables beside those of this process; null as a value removes one.</param>
    public static async Task<(int ExitCode, string Output, string Error)> RunAsync(
        string program, string[] arguments, string? directory = null, params (string Name, string? Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = directory ?? "" };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        using var timeout = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        try
        {
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"'{program} {string.Join(' ', arguments)}' ran for three minutes. {await output}{await error}");
        }
        return (process.ExitCode, await output, await error);
    }
}
