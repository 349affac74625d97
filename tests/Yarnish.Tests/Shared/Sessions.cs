using Xunit;

namespace Yarnish.Tests.Shared;

/// <summary>Sessions in this process.</summary>
internal static class Sessions
{
    public static Task<YarnishSession> OpenAsync(bool isolated, Action<YarnishOptions>? change = null) =>
        YarnishSession.CreateBuilder().WithName("test").WithProgress(ProgressStyle.None).Configure(options =>
        {
            options.Address = "";
            options.Isolated = isolated;
            options.ExecutorCores = 4;
            change?.Invoke(options);
        }).ConnectAsync(TestContext.Current.CancellationToken);

    public static async Task WaitUntilAsync(string what, Func<bool> condition)
    {
        for (var i = 0; i < 600; i++)
        {
            if (condition())
            {
                return;
            }
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
        Assert.Fail($"Waited 30 s in vain until {what}.");
    }
}
