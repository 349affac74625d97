using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Yarnish.Cli;

/// <summary>Ends child processes in good order.</summary>
internal static class ProcessSignals
{
    /// <summary>SIGTERM, and after the grace time SIGKILL to the process and its children. Returns when it has ended.</summary>
    public static async Task TerminateAsync(Process process, TimeSpan grace)
    {
        if (process.HasExited)
        {
            return;
        }
        try
        {
            // .NET has no SIGTERM of its own; the tool kill is on every Unix.
            using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
            using var timeout = new CancellationTokenSource(grace);
            await process.WaitForExitAsync(timeout.Token).ConfigureAwait(false);
        }
        catch (Exception error) when (error is OperationCanceledException or Win32Exception)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }
}
