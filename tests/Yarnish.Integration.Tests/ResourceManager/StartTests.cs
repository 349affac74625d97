using System.Net;
using System.Net.Http.Json;
using Xunit;
using Yarnish.Integration.Tests.Fixtures;
using Yarnish.Protocol;

namespace Yarnish.Integration.Tests.ResourceManager;

/// <summary>How the program starts and ends.</summary>
[Trait("Category", "Processes")]
public sealed class StartTests
{
    [Theory]
    [InlineData("Redis__Host", "x", "Yarnish:Redis")]
    [InlineData("RabitMq", "amqp://h/", "Did you mean Yarnish:RabbitMq")]
    [InlineData("Urls", "http://0.0.0.0:0", "Yarnish__Secret")]
    [InlineData("RabbitMq", "localhost", "Yarnish__RabbitMq")]
    [InlineData("BlobQuotaBytes", "plenty", "BlobQuotaBytes")]
    public async Task A_wrong_setting_is_one_clear_error_and_exit_code_2(string name, string value, string says)
    {
        await using var rm = new ResourceManagerProcess((name, value));
        rm.Start();

        Assert.Equal(2, await rm.ExitAsync());
        Assert.Contains(says, rm.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", rm.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_broker_and_Redis_it_lives_and_says_what_is_missing_and_no_password()
    {
        await using var rm = new ResourceManagerProcess(("RabbitMq", "amqp://guest:hunter2@127.0.0.1:1/"), ("Redis", "127.0.0.1:2,password=hunter2"));
        rm.Start();
        await rm.UntilAsync(async () =>
        {
            var answer = await rm.Client.GetAsync(new Uri("/readyz", UriKind.Relative), TestContext.Current.CancellationToken);
            var text = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            return answer.StatusCode == HttpStatusCode.ServiceUnavailable && text.Contains("127.0.0.1:1", StringComparison.Ordinal) && text.Contains("127.0.0.1:2", StringComparison.Ordinal);
        }, "readyz names both");

        Assert.Equal("ok\n", await rm.Client.GetStringAsync(new Uri("/livez", UriKind.Relative), TestContext.Current.CancellationToken));
        var refused = await rm.Client.GetAsync(new Uri("/api/v1/cluster/connection", UriKind.Relative), TestContext.Current.CancellationToken);
        Assert.Equal("not-ready", (await refused.Content.ReadFromJsonAsync<ErrorInfo>(ProtocolJson.Options, TestContext.Current.CancellationToken))!.Code);
        Assert.DoesNotContain("hunter2", rm.Output, StringComparison.Ordinal);
        Assert.Equal(0, await rm.TerminateAsync());
    }

    [Fact]
    public async Task A_taken_port_is_one_clear_error()
    {
        await using var first = new ResourceManagerProcess(("RabbitMq", SharedServices.RabbitMq), ("Redis", SharedServices.Redis));
        await first.StartAndWaitAsync();
        await using var second = new ResourceManagerProcess(("Urls", first.Url));
        second.Start();

        Assert.Equal(1, await second.ExitAsync());
        Assert.Contains("in use", second.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Idle_it_takes_less_than_150_MB()
    {
        await using var rm = new ResourceManagerProcess(("RabbitMq", SharedServices.RabbitMq), ("Redis", SharedServices.Redis));
        await rm.StartAndWaitAsync();
        await rm.GetAsync<ClusterInfo>("/api/v1/cluster");

        var resident = File.ReadLines($"/proc/{rm.ProcessId}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
        var megabytes = long.Parse(resident.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture) / 1024;
        TestContext.Current.SendDiagnosticMessage($"Resource manager, idle: {megabytes} MB resident.");
        Assert.InRange(megabytes, 1, 150);
        Assert.Equal(0, await rm.TerminateAsync());
    }
}
